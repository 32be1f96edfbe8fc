-- What changed since a caller last looked, with the values, in one moment.
-- KEYS: revision, changes
-- ARGV: again, epoch and n the caller knows, how many names at most, what the keys begin with,
--       how many fields (0: strings), the fields, names to read in any case
-- Returns {epoch, n, 1, names, values}; {epoch, n, 0} where the caller must read everything.
local state = redis.call('HMGET', KEYS[1], 'epoch', 'n')
local epoch, n = state[1] or '', tonumber(state[2]) or 0
local known, limit, fields = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[6])

if epoch ~= ARGV[2] or n < known then
    return {epoch, n, 0}
end

local names, seen = {}, {}
local function take(name)
    if not seen[name] then
        seen[name] = true
        names[#names + 1] = name
    end
end

for i = 7 + fields, #ARGV do
    take(ARGV[i])
end
if n > known then
    local found = redis.call(
        'ZRANGEBYSCORE', KEYS[2], '(' .. known, '+inf', 'WITHSCORES', 'LIMIT', 0, limit
    )
    -- Full: older names may have been dropped. A last change without a name: counted by hand.
    if #found >= 2 * limit or tonumber(found[#found]) ~= n then
        return {epoch, n, 0}
    end
    for i = 1, #found, 2 do
        take(found[i])
    end
end

local values = {}
for i, name in ipairs(names) do
    local key = ARGV[5] .. name
    local value
    if fields == 0 then
        value = redis.pcall('GET', key)
    else
        value = redis.pcall('HMGET', key, unpack(ARGV, 7, 6 + fields))
    end
    values[i] = value
end
return {epoch, n, 1, names, values}
