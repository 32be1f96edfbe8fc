-- Removes an artifact.
-- KEYS: artifact, index, sizes
-- ARGV: again, name
-- Returns {'removed', file of its body}, {'type'} or {'missing'}.
if not fits(KEYS[1], 'hash') then
    return {'type'}
end
local former = redis.call('HGET', KEYS[1], 'body') or ''
if redis.call('UNLINK', KEYS[1]) == 0 and ARGV[1] == '0' then
    return {'missing'}
end
redis.call('ZREM', KEYS[2], ARGV[2])
local field = 'artifacts:' .. ARGV[2]
count(KEYS[3], field, 0, -counted(KEYS[3], field))
return {'removed', former}
