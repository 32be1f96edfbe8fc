-- Bytes by item in the hash `sizes`, their sum in its field 'total'; no name is 'total', because
-- each item's field has a ':'. `limit` 0 is none. What shrinks is always let through.
local function counted(sizes, field)
    return tonumber(redis.call('HGET', sizes, field)) or 0
end

local function total_after(sizes, growth)
    return (tonumber(redis.call('HGET', sizes, 'total')) or 0) + growth
end

local function over(sizes, growth, limit)
    return limit > 0 and growth > 0 and total_after(sizes, growth) > limit
end

local function count(sizes, field, bytes, growth)
    if growth == 0 then
        return
    end
    if bytes > 0 then
        redis.call('HSET', sizes, field, bytes)
    else
        redis.call('HDEL', sizes, field)
    end
    redis.call('HINCRBY', sizes, 'total', growth)
end
