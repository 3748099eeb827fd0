-- Edits of Wikipedia, one JSON object per edit; see README.md for the data set.
CREATE UNBOUNDED EXTERNAL TABLE edits (
  time TIMESTAMP NOT NULL,
  channel VARCHAR NOT NULL,
  page VARCHAR NOT NULL,
  "user" VARCHAR NOT NULL,
  namespace VARCHAR,
  comment VARCHAR,
  added BIGINT,
  deleted BIGINT,
  delta BIGINT,
  "isAnonymous" BOOLEAN,
  "isMinor" BOOLEAN,
  "isNew" BOOLEAN,
  "isRobot" BOOLEAN,
  "isUnpatrolled" BOOLEAN,
  "cityName" VARCHAR,
  "regionName" VARCHAR,
  "regionIsoCode" VARCHAR,
  "countryName" VARCHAR,
  "countryIsoCode" VARCHAR,
  "metroCode" BIGINT
) STORED AS JSON LOCATION 'kafka://edits' OPTIONS (event_time 'time');

-- What language a channel speaks: a static table, whose content is part of the definition.
CREATE EXTERNAL TABLE languages (
  channel VARCHAR NOT NULL,
  language VARCHAR NOT NULL
) STORED AS CSV LOCATION 'languages.csv';

-- Which pages are edited now.
CREATE MATERIALIZED VIEW edits_by_page AS
SELECT page, date_bin(INTERVAL '1 hour', time) AS hour,
       count(*) AS edits
FROM edits GROUP BY page, hour;

-- How busy each channel is, by how many people, and how large its edits are.
CREATE MATERIALIZED VIEW edits_by_channel AS
SELECT channel, date_bin(INTERVAL '1 minute', time) AS minute,
       count(*) AS edits,
       sum(added) AS added,
       sum(deleted) AS deleted,
       approx_distinct("user") AS editors,
       approx_percentile_cont(0.99) WITHIN GROUP (ORDER BY added) AS p99_added
FROM edits GROUP BY channel, minute;

-- Robots and people, by language; `delta_per_edit` is finished after the states are merged.
CREATE MATERIALIZED VIEW edits_by_language WITH (bucket = 'day') AS
SELECT coalesce(languages.language, 'other') AS language, date_bin(INTERVAL '1 hour', time) AS hour,
       count(*) AS edits,
       count(*) FILTER (WHERE "isRobot") AS robot_edits,
       sum(delta) AS delta,
       sum(delta) / CAST(count(*) AS DOUBLE) AS delta_per_edit,
       max(added) AS largest
FROM edits LEFT JOIN languages ON edits.channel = languages.channel
GROUP BY coalesce(languages.language, 'other'), hour;
