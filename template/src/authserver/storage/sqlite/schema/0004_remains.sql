-- The oldest spent refresh tokens of a grant are found without looking at all of them.

DROP INDEX refresh_tokens_grant;
CREATE INDEX refresh_tokens_grant ON refresh_tokens (grant_id, spent_at);
