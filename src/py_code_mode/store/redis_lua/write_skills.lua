-- Saves and removes skills, all or none; earlier versions move to the skill's hash of versions.
-- KEYS: revision, changes, sizes, then two per item: skill, versions
-- ARGV: again, epoch, kept changes, kept versions, limit in bytes, then per item: 'save' or
--       'remove', name, source, description, author, origin, created_at, '1' to overwrite,
--       origins that may be changed (',agent,api,' or '*')
-- Returns {'done', versions}, {'full', bytes} or {problem, item, version, origin}.
local again, kept, limit = ARGV[1] == '1', tonumber(ARGV[4]), tonumber(ARGV[5])
local items = (#KEYS - 3) / 2
local FIELDS = {'source', 'description', 'author', 'origin', 'created_at', 'version'}

local function item(i)
    local at = 6 + (i - 1) * 9
    return {
        key = KEYS[2 + 2 * i], versions = KEYS[3 + 2 * i], what = ARGV[at], name = ARGV[at + 1],
        source = ARGV[at + 2], description = ARGV[at + 3], author = ARGV[at + 4],
        origin = ARGV[at + 5], created_at = ARGV[at + 6], overwrite = ARGV[at + 7] == '1',
        changeable = ARGV[at + 8],
    }
end

-- What is there; a field that somebody's HSET left out is what a person's skill has.
local function current(key)
    if redis.call('EXISTS', key) == 0 then
        return nil
    end
    local values, skill = redis.call('HMGET', key, unpack(FIELDS)), {}
    for i, field in ipairs(FIELDS) do
        skill[field] = values[i] or ''
    end
    skill.version = tonumber(skill.version) or 1
    if skill.origin == '' then
        skill.origin = 'config'
    end
    return skill
end

local function may_change(new, old)
    return new.changeable == '*' or string.find(new.changeable, ',' .. old.origin .. ',', 1, true)
end

local function is_same(new, old)
    return old.created_at == new.created_at and old.source == new.source
        and old.origin == new.origin and old.author == new.author
end

local function problem_of(new, old)
    if new.what == 'remove' then
        if not old then
            return not again and 'missing' or nil
        end
        return not may_change(new, old) and 'protected' or nil
    end
    if not old then
        return nil
    end
    if again and is_same(new, old) then
        new.what = 'saved'
        new.version = old.version
        return nil
    end
    if not new.overwrite then
        return 'exists'
    end
    return not may_change(new, old) and 'protected' or nil
end

-- Bytes of a skill: the current version and those that stay.
local function bytes_after(new, history)
    local bytes = #new.name + #new.source + #new.description + #history
    for version = math.max(1, new.version - kept + 1), new.version - 1 do
        bytes = bytes + redis.call('HSTRLEN', new.versions, version)
    end
    return bytes
end

local plan, names, versions, growth, saves = {}, {}, {}, 0, false
for i = 1, items do
    local new = item(i)
    if not fits(new.key, 'hash') or not fits(new.versions, 'hash') then
        return {'type', i}
    end
    local old = current(new.key)
    local problem = problem_of(new, old)
    if problem then
        return {problem, i, old and old.version or 0, old and old.origin or ''}
    end
    new.bytes = 0
    if new.what == 'save' then
        saves = true
        new.version = old and old.version + 1 or 1
        new.history = ''
        if old then
            new.history, new.before = cjson.encode(old), old.version
        end
        new.bytes = bytes_after(new, new.history)
    end
    if new.what ~= 'saved' then
        new.growth = new.bytes - counted(KEYS[3], 'skills:' .. new.name)
        growth = growth + new.growth
        names[#names + 1] = new.name
    end
    versions[i] = new.version or 0
    plan[i] = new
end
if saves and over(KEYS[3], growth, limit) then
    return {'full', total_after(KEYS[3], growth)}
end

local function save(new)
    if new.before then
        redis.call('HSET', new.versions, new.before, new.history)
        redis.call('HDEL', new.versions, new.version - kept)
    else
        redis.call('UNLINK', new.versions)
    end
    redis.call('UNLINK', new.key)
    redis.call(
        'HSET', new.key, 'source', new.source, 'description', new.description,
        'version', new.version, 'author', new.author, 'origin', new.origin,
        'created_at', new.created_at
    )
end

-- Counting needs memory and removing does not: a full Redis must refuse saves and let removals be.
if saves then
    count_change(KEYS[1], KEYS[2], ARGV[2], tonumber(ARGV[3]), names)
end
for i = 1, items do
    local new = plan[i]
    if new.what == 'save' then
        save(new)
    elseif new.what == 'remove' then
        redis.call('UNLINK', new.key, new.versions)
    end
    if new.what ~= 'saved' then
        count(KEYS[3], 'skills:' .. new.name, new.bytes, new.growth)
    end
end
if not saves and #names > 0 then
    count_change(KEYS[1], KEYS[2], ARGV[2], tonumber(ARGV[3]), names)
end
return {'done', versions}
