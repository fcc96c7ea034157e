-- Upstream keeps files in Active Storage; here the content stands beside what it is attached to. key is the signed id of its address.
CREATE TABLE attachments (
    id           bigserial PRIMARY KEY,
    message_id   bigint NOT NULL REFERENCES messages ON DELETE CASCADE,
    account_id   bigint NOT NULL,
    file_type    text NOT NULL,
    file_name    text NOT NULL,
    content_type text NOT NULL,
    content      bytea NOT NULL,
    key          text NOT NULL UNIQUE
);
CREATE INDEX index_attachments_on_message_id ON attachments (message_id);
