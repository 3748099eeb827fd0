-- Traffic of a web site, as `twofold demo` makes it up.
-- A grid of 512 records and a gap of 5 s are small, so that each batch view visibly takes over what realtime held.
CREATE UNBOUNDED EXTERNAL TABLE visits (
  id VARCHAR NOT NULL,
  time TIMESTAMP NOT NULL,
  page VARCHAR NOT NULL,
  "user" VARCHAR NOT NULL,
  session VARCHAR NOT NULL,
  status INT NOT NULL,
  bytes BIGINT
) STORED AS JSON LOCATION 'kafka://visits'
OPTIONS (event_time 'time', event_id 'id', horizon '10 minutes', late_after '1 minute', grid '512', gap '5 seconds', partitions '2');

CREATE MATERIALIZED VIEW visits_by_page AS
SELECT page, date_bin(INTERVAL '1 minute', time) AS minute,
       count(*) AS visits,
       sum(bytes) AS bytes,
       count(*) FILTER (WHERE status >= 400) AS errors,
       approx_distinct("user") AS visitors
FROM visits GROUP BY page, minute;
