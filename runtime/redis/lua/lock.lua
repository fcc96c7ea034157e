-- One step of each of several conversation locks, in the order given; doc.go has the contract.
--
--   KEYS    the locks
--   ARGV    for each lock: "acquire" or "renew", the asker's "fence:token" and the milliseconds to live from now;
--           or "release" and the asker's "fence:token"
--
-- Answers a line for each lock:
--
--   taken                       acquired, and nobody or somebody else had it before
--   done                        kept, renewed or released
--   held FENCE MILLISECONDS     by another, with the same fence, for so long if it is not renewed
--   stale                       held with a higher fence
--   lost                        not held with this token
--   anything else               the error of this step
--
-- No functions, and no array for an answer: Redis makes functions anew with each call, and gives an array of a script's a
-- buffer of its own. Either took 3 to 5 % of a lone caller's time.
local answers = {}
local at = 1
for i = 1, #KEYS do
  local key, step, value, ttl, answer = KEYS[i], ARGV[at], ARGV[at + 1]
  at = at + 2
  if step ~= 'release' then
    ttl = ARGV[at]
    at = at + 1
  end
  if step == 'acquire' then
    -- Nearly always free: one command finds out and takes it.
    local held = redis.pcall('SET', key, value, 'NX', 'GET', 'PX', ttl)
    if not held then
      answer = 'taken'
    elseif type(held) == 'table' then
      answer = held.err -- as of a key of another type
    else
      local fence, token = string.match(value, '^(%d+):(.*)$')
      local held_fence, held_token = string.match(held, '^(%d+):(.*)$')
      if not held_fence then
        answer = 'not a conversation lock'
      elseif tonumber(held_fence) > tonumber(fence) then
        answer = 'stale'
      elseif held_fence == fence and held_token ~= token then
        answer = 'held ' .. held_fence .. ' ' .. redis.call('PTTL', key)
      else
        answer = redis.pcall('SET', key, value, 'PX', ttl).err or held_token == token and 'done' or 'taken'
      end
    end
  else
    local held = redis.pcall('GET', key)
    if not held then
      answer = 'lost'
    elseif type(held) == 'table' then
      answer = held.err
    elseif held ~= value and string.match(held, ':(.*)$') ~= string.match(value, ':(.*)$') then
      answer = 'lost' -- tokens decide: the holder may have raised the fence since
    elseif step == 'renew' then
      redis.call('PEXPIRE', key, ttl)
      answer = 'done'
    else
      redis.call('DEL', key)
      answer = 'done'
    end
  end
  answers[i] = answer
end
return table.concat(answers, '\n')
