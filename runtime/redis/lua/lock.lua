-- One step of each of several conversation locks, in the order given; doc.go has the contract.
--
--   KEYS[i]        the lock
--   ARGV[3i-2]     "acquire", "renew" or "release"
--   ARGV[3i-1]     "fence:token" of the asker
--   ARGV[3i]       milliseconds the lock lives from now
--
-- Answers an array of as many: 1 taken, 2 kept, renewed or released; 0 not held with this token; -1 held with a higher
-- fence; {fence, milliseconds left} held by another with the same fence; or that one step's error.

local function split(value)
  local colon = string.find(value, ':', 1, true)
  if colon then
    return tonumber(string.sub(value, 1, colon - 1)), string.sub(value, colon + 1)
  end
end

local function set(key, value, ttl, answer)
  local done = redis.pcall('SET', key, value, 'PX', ttl)
  return done.err and done or answer
end

local function acquire(key, value, ttl)
  -- Nearly always free: one command finds out and takes it.
  local held = redis.pcall('SET', key, value, 'NX', 'GET', 'PX', ttl)
  if not held then return 1 end
  if type(held) == 'table' then return held end
  if held == value then return set(key, value, ttl, 2) end
  local theirs, token = split(held)
  if not theirs then return redis.error_reply('ERR not a conversation lock') end
  local ours, mine = split(value)
  if theirs > ours then return -1 end
  if theirs < ours then return set(key, value, ttl, token == mine and 2 or 1) end
  return {theirs, redis.call('PTTL', key)}
end

-- The holder's fence may have been raised since by an acquire with the same token, so only tokens are compared.
local function mine(key, value)
  local held = redis.pcall('GET', key)
  if held == value then return true end
  if not held then return false end
  if type(held) == 'table' then return nil, held end
  local _, theirs = split(held)
  local _, ours = split(value)
  return theirs == ours
end

local function hold(key, value, command, ...)
  local ours, err = mine(key, value)
  if err then return err end
  if not ours then return 0 end
  redis.call(command, key, ...)
  return 2
end

local answers = {}
for i, key in ipairs(KEYS) do
  local step, value, ttl = ARGV[3 * i - 2], ARGV[3 * i - 1], ARGV[3 * i]
  if step == 'acquire' then
    answers[i] = acquire(key, value, ttl)
  elseif step == 'renew' then
    answers[i] = hold(key, value, 'PEXPIRE', ttl)
  else
    answers[i] = hold(key, value, 'DEL')
  end
end
return answers
