-- What was begun under an epoch that has passed opens nothing. What older releases wrote is of the first one.

ALTER TABLE users ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;

ALTER TABLE sessions ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
