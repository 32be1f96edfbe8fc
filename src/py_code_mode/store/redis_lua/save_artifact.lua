-- Puts an artifact in place of the one that was there.
-- KEYS: artifact, index, sizes, incoming (the record with its body; may be absent), then one per
--       folder above the artifact
-- ARGV: again, name, what artifacts' keys begin with, limit in bytes, bytes, '1' where the record
--       is in `incoming`, then the record's fields and values
-- Returns {'saved', file of the former body}, {'clash', key}, {'type'}, {'full', bytes}, or {'lost'}
-- where nothing is in `incoming`.
local name, prefix, limit, bytes = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local arriving, field = ARGV[6] == '1', 'artifacts:' .. ARGV[2]

local function refused(...)
    if arriving then
        redis.call('UNLINK', KEYS[4])
    end
    return {...}
end

-- The key of an artifact that is a folder above or below this one.
local function clash()
    for i = 5, #KEYS do
        if redis.call('EXISTS', KEYS[i]) == 1 then
            return KEYS[i]
        end
    end
    -- '0' follows '/': between the two are the names below this one.
    local from, to = '[' .. name .. '/', '(' .. name .. '0'
    while true do
        local below = redis.call('ZRANGEBYLEX', KEYS[2], from, to, 'LIMIT', 0, 1)[1]
        if not below then
            return nil
        end
        if redis.call('EXISTS', prefix .. below) == 1 then
            return prefix .. below
        end
        redis.call('ZREM', KEYS[2], below) -- somebody's DEL passed the index by
    end
end

local found = redis.call('TYPE', KEYS[1])['ok']
local is_new, former = found == 'none', ''
if is_new then
    local other = clash()
    if other then
        return refused('clash', other)
    end
elseif found == 'hash' then
    former = redis.call('HGET', KEYS[1], 'body') or ''
else
    return refused('type')
end
local growth = bytes - counted(KEYS[3], field)
if over(KEYS[3], growth, limit) then
    return refused('full', total_after(KEYS[3], growth))
end

if not arriving then
    -- The first write must be one that a Redis out of memory refuses.
    redis.call('HSET', KEYS[1], unpack(ARGV, 7))
    if former ~= '' and ARGV[#ARGV - 1] == 'data' then
        redis.call('HDEL', KEYS[1], 'body')
    elseif not is_new and ARGV[#ARGV - 1] == 'body' then
        redis.call('HDEL', KEYS[1], 'data')
    end
elseif redis.call('EXISTS', KEYS[4]) == 1 then
    redis.call('PERSIST', KEYS[4])
    redis.call('RENAME', KEYS[4], KEYS[1])
else
    return {'lost'}
end
if is_new then
    redis.call('ZADD', KEYS[2], 0, name)
end
count(KEYS[3], field, bytes, growth)
return {'saved', former}
