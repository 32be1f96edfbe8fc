-- Counts a change of a collection and remembers which names it touched, at most `kept` of them.
-- The epoch tells a counter that started anew (an emptied Redis) from the one that was there.
local function count_change(revision, changes, epoch, kept, names)
    if redis.call('HSETNX', revision, 'epoch', epoch) == 1 then
        redis.call('DEL', changes)
    end
    local n = redis.call('HINCRBY', revision, 'n', 1)
    for _, name in ipairs(names) do
        redis.call('ZADD', changes, n, name)
    end
    redis.call('ZREMRANGEBYRANK', changes, 0, -kept - 1)
end

-- Tells whether the key is free or holds this type.
local function fits(key, type)
    local found = redis.call('TYPE', key)['ok']
    return found == 'none' or found == type
end
