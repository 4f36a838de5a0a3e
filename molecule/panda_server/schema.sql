-- As much of the PanDA database as these tests ask of it: the schema's version, the list of users, and the locks of the
-- daemon. Written for them; the real schema is the database's owner's, see playbooks/database.yml.
CREATE SCHEMA IF NOT EXISTS doma_panda;
CREATE SCHEMA IF NOT EXISTS doma_pandameta;

CREATE TABLE IF NOT EXISTS doma_panda.pandadb_version (
    component varchar(100) PRIMARY KEY,
    major integer NOT NULL,
    minor integer NOT NULL,
    patch integer NOT NULL
);
INSERT INTO doma_panda.pandadb_version VALUES ('PanDA', 0, 1, 6) ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS doma_pandameta.users (
    id integer PRIMARY KEY,
    name varchar(256) NOT NULL,
    status varchar(16)
);
INSERT INTO doma_pandameta.users VALUES (1, 'mallory', 'disabled') ON CONFLICT DO NOTHING;

-- Asked when the application starts; empty is a valid answer.
CREATE TABLE IF NOT EXISTS doma_panda.config (
    app varchar(64) NOT NULL,
    component varchar(64) NOT NULL,
    key varchar(64) NOT NULL,
    vo varchar(32),
    value varchar(256),
    value_json text,
    type varchar(16)
);
