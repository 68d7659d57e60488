-- Columns that came after the tables of schema/. Each has a default, no statement of older nodes needs it, and
-- so they go on beside those that do.

-- What was begun under an epoch that has passed opens nothing. What older nodes write is of the first one.
ALTER TABLE authserver.users ADD COLUMN IF NOT EXISTS epoch bigint NOT NULL DEFAULT 0;
ALTER TABLE authserver.sessions ADD COLUMN IF NOT EXISTS epoch bigint NOT NULL DEFAULT 0;
