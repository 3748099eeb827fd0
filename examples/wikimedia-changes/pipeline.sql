-- Recent changes of all Wikimedia wikis, as EventStreams sends them (mediawiki.recentchange 1.0.0); see README.md.
CREATE UNBOUNDED EXTERNAL TABLE changes (
  wiki VARCHAR NOT NULL,
  id BIGINT,
  -- When it was changed, in whole seconds since 1970; `meta.dt` says when that was sent.
  changed_at TIMESTAMP NOT NULL OPTIONS (path = 'timestamp', format = 'epoch_s'),
  sent_at TIMESTAMP OPTIONS (path = 'meta.dt'),
  -- `canary` where nothing was changed: such events only try the stream.
  domain VARCHAR OPTIONS (path = 'meta.domain'),
  event_schema VARCHAR OPTIONS (path = '"$schema"'),
  type VARCHAR NOT NULL,
  namespace INT,
  title VARCHAR,
  "user" VARCHAR,
  bot BOOLEAN,
  -- Only edits and new pages have a length, and new pages no old one.
  old_bytes BIGINT OPTIONS (path = 'length.old'),
  new_bytes BIGINT OPTIONS (path = 'length.new'),
  log_type VARCHAR,
  log_action VARCHAR
) STORED AS JSON LOCATION 'kafka://changes'
OPTIONS (event_time 'changed_at', event_id 'wiki, id');

-- How busy each wiki is, what part of that is robots, and how much its pages grow.
CREATE MATERIALIZED VIEW edits_by_wiki AS
SELECT wiki, date_bin(INTERVAL '1 minute', changed_at) AS minute,
       count(*) AS edits,
       count(*) FILTER (WHERE type = 'new') AS new_pages,
       count(*) FILTER (WHERE bot) AS bot_edits,
       count(*) FILTER (WHERE bot) / CAST(count(*) AS DOUBLE) AS bot_share,
       sum(new_bytes - coalesce(old_bytes, 0)) AS grown_bytes,
       approx_distinct("user") AS editors
FROM changes WHERE type IN ('edit', 'new') AND domain IS DISTINCT FROM 'canary'
GROUP BY wiki, minute;

-- Which articles are edited now, and by how many people.
CREATE MATERIALIZED VIEW edits_by_article AS
SELECT wiki, title, date_bin(INTERVAL '1 hour', changed_at) AS hour,
       count(*) AS edits,
       approx_distinct("user") AS editors,
       sum(new_bytes - coalesce(old_bytes, 0)) AS grown_bytes
FROM changes WHERE type IN ('edit', 'new') AND namespace = 0 AND domain IS DISTINCT FROM 'canary'
GROUP BY wiki, title, hour;

-- How large an edit is, of robots and of people.
CREATE MATERIALIZED VIEW change_sizes AS
SELECT bot, date_bin(INTERVAL '1 hour', changed_at) AS hour,
       count(*) AS edits,
       approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY abs(new_bytes - coalesce(old_bytes, 0))) AS median_bytes,
       approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY abs(new_bytes - coalesce(old_bytes, 0))) AS p95_bytes,
       max(new_bytes) AS largest_page
FROM changes WHERE type IN ('edit', 'new') AND domain IS DISTINCT FROM 'canary'
GROUP BY bot, hour;

-- What is done beside edits: uploads, blocks, deletions.
CREATE MATERIALIZED VIEW log_actions WITH (bucket = 'day') AS
SELECT wiki, log_type, log_action, date_bin(INTERVAL '1 day', changed_at) AS day,
       count(*) AS actions,
       approx_distinct("user") AS people
FROM changes WHERE type = 'log' AND domain IS DISTINCT FROM 'canary'
GROUP BY wiki, log_type, log_action, day;

-- The stream itself, all of it: which kinds come in which version of the schema, and how far it is.
CREATE MATERIALIZED VIEW feed AS
SELECT event_schema, type, date_bin(INTERVAL '1 hour', changed_at) AS hour,
       count(*) AS events,
       count(*) FILTER (WHERE domain = 'canary') AS canaries,
       count(new_bytes) AS with_length,
       max(sent_at) AS last_sent
FROM changes GROUP BY event_schema, type, hour;
