-- Reads an artifact, without its body where that is larger than the caller takes.
-- KEYS: artifact
-- ARGV: again, most, fields of the record
-- Returns {'type'} or {size of the body, the body or '', the fields}.
if not fits(KEYS[1], 'hash') then
    return {'type'}
end
local size = redis.call('HSTRLEN', KEYS[1], 'data')
local answer = {size, ''}
if size <= tonumber(ARGV[2]) then
    answer[2] = redis.call('HGET', KEYS[1], 'data') or ''
end
for position = 3, #ARGV do
    answer[position] = redis.call('HGET', KEYS[1], ARGV[position])
end
return answer
