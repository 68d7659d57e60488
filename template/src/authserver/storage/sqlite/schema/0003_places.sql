-- The networks that a client came from: digits of its address, see requests/networks.py. Older ones share one.

ALTER TABLE clients ADD COLUMN place TEXT NOT NULL DEFAULT '0000000000000000';

DROP INDEX clients_unused;

CREATE INDEX clients_places ON clients (place, created_at) WHERE completed_at IS NULL;
