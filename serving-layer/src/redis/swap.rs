//! The scripts that run in Redis, and what it answers to a swap.

use std::collections::BTreeSet;

use redis::Value;

use super::error::unexpected;
use super::form::decode_index;
use crate::ServingError;
use crate::realtime::{BlobChange, BlobKey, Swap};

/// KEYS: index, blobs to keep, blobs to let expire. ARGV: expected stamp (empty: no index), next index, number of blobs
/// to keep, grace in milliseconds.
///
/// `allow-oom`: a full Redis must still accept the swap that drops runs; an index is small.
/// `KEEPTTL`: the index of a probe stays one that expires. Others never do.
pub(super) const SWAP: &str = r"#!lua flags=allow-oom
if redis.call('GETRANGE', KEYS[1], 0, 31) ~= ARGV[1] then
  return {'lost', redis.call('GET', KEYS[1])}
end
local kept = tonumber(ARGV[3])
local missing = {'missing'}
for i = 2, kept + 1 do
  if redis.call('EXISTS', KEYS[i]) == 0 then missing[#missing + 1] = i - 2 end
end
if #missing > 1 then return missing end
for i = 2, kept + 1 do redis.call('PERSIST', KEYS[i]) end
for i = kept + 2, #KEYS do redis.call('PEXPIRE', KEYS[i], ARGV[4]) end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
return {'done'}
";

/// KEYS: index. ARGV: the bytes that were read and could not be understood.
pub(super) const DISCARD: &str = r"#!lua flags=allow-oom
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
";

/// KEYS: index. ARGV: the pattern of the partition's blobs, the cursor of the step before or 0, how many keys to look
/// at. Returns the cursor of the next step; 0 behind the last one.
///
/// `allow-oom`: what makes room must work in a full Redis.
pub(super) const FORGET_SOME: &str = r"#!lua flags=allow-oom
redis.call('DEL', KEYS[1])
local found = redis.call('SCAN', ARGV[2], 'MATCH', ARGV[1], 'COUNT', ARGV[3])
for _, key in ipairs(found[2]) do redis.call('DEL', key) end
return found[1]
";

/// KEYS: any key of ours. ARGV: commands. Returns those among them that the user may not run on such a key.
pub(super) const MISSING_RIGHTS: &str = r"#!lua flags=no-writes,allow-oom
local missing = {}
for _, command in ipairs(ARGV) do
  if not redis.acl_check_cmd(command, KEYS[1]) then missing[#missing + 1] = command end
end
return missing
";

/// What the reply to a swap says.
pub(super) fn read_swap_reply(reply: &[Value], change: &BlobChange) -> Result<Swap, ServingError> {
    let Some(Value::BulkString(outcome)) = reply.first() else {
        return Err(unexpected(reply));
    };
    match (outcome.as_slice(), &reply[1..]) {
        (b"done", _) => Ok(Swap::Done),
        (b"lost", [Value::BulkString(index)]) => Ok(Swap::Lost(Some(decode_index(index, "the index")?))),
        (b"lost", _) => Ok(Swap::Lost(None)),
        (b"missing", places) => {
            let missing = places.iter().map(|place| match place {
                Value::Int(place) => usize::try_from(*place).ok().and_then(|place| change.kept.get(place)).copied(),
                _ => None,
            });
            let missing: Option<BTreeSet<BlobKey>> = missing.collect();
            missing.map(Swap::MissingBlobs).ok_or_else(|| unexpected(reply))
        }
        _ => Err(unexpected(reply)),
    }
}
