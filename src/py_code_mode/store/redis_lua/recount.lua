-- Forgets the bytes of items whose keys somebody else has removed.
-- KEYS: sizes
-- ARGV: again, what all keys begin with, then fields of `sizes`
-- Returns how many bytes were forgotten.
local freed = 0
for i = 3, #ARGV do
    if redis.call('EXISTS', ARGV[2] .. ARGV[i]) == 0 then
        local bytes = counted(KEYS[1], ARGV[i])
        count(KEYS[1], ARGV[i], 0, -bytes)
        freed = freed + bytes
    end
end
return freed
