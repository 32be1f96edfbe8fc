-- Saves and removes definitions, all or none.
-- KEYS: revision, changes, then one per item
-- ARGV: again, epoch, kept changes, then per item: 'save' or 'remove', name, text
-- Returns {'done'}, {'missing', item} or {'type', item}; items count from 1.
local again, names, saves = ARGV[1] == '1', {}, false

local function item(i)
    local at = 4 + (i - 1) * 3
    return KEYS[2 + i], ARGV[at], ARGV[at + 1], ARGV[at + 2]
end

for i = 1, #KEYS - 2 do
    local key, what, name = item(i)
    if what == 'save' then
        saves = true
        if not fits(key, 'string') then
            return {'type', i}
        end
    elseif not again and redis.call('EXISTS', key) == 0 then
        return {'missing', i}
    end
    names[i] = name
end

-- Counting needs memory and removing does not: a full Redis must refuse saves and let removals be.
if saves then
    count_change(KEYS[1], KEYS[2], ARGV[2], tonumber(ARGV[3]), names)
end
for i = 1, #KEYS - 2 do
    local key, what, _, text = item(i)
    if what == 'save' then
        redis.call('SET', key, text)
    else
        redis.call('UNLINK', key)
    end
end
if not saves then
    count_change(KEYS[1], KEYS[2], ARGV[2], tonumber(ARGV[3]), names)
end
return {'done'}
