-- Page views of a web site, as a script in its pages sends them; see README.md.
CREATE UNBOUNDED EXTERNAL TABLE page_views (
  id VARCHAR NOT NULL,
  time TIMESTAMP NOT NULL,
  page VARCHAR NOT NULL,
  -- A random number in a cookie; none where the visitor wants none.
  visitor VARCHAR,
  device VARCHAR NOT NULL DEFAULT 'unknown'
) STORED AS JSON LOCATION 'kafka://page_views' OPTIONS (event_time 'time', event_id 'id');

-- Page views over time, and unique visitors over any range: sketches of hours are merged, never added up.
CREATE MATERIALIZED VIEW traffic AS
SELECT page, date_bin(INTERVAL '1 hour', time) AS hour, count(*) AS views, approx_distinct(visitor) AS visitors
FROM page_views GROUP BY page, hour;

-- Visits of the whole site. By hour, so that any range can be asked for: a visit that spans two hours is one in an
-- answer over both. A group holds all visitors of an hour, hence the limit.
CREATE MATERIALIZED VIEW visits_by_hour WITH (max_state_bytes = 67108864) AS
SELECT date_bin(INTERVAL '1 hour', time) AS hour, count(*) AS views, approx_distinct(visitor) AS visitors,
       visits(visitor, time, INTERVAL '30 minutes') AS visits,
       bounces(visitor, time, INTERVAL '30 minutes') AS bounces
FROM page_views GROUP BY hour;

-- How many leave again after one page, by what they use.
CREATE MATERIALIZED VIEW bounces_by_device WITH (bucket = 'day', max_state_bytes = 67108864) AS
SELECT device, date_trunc('day', time) AS day, count(*) AS views,
       bounce_rate(visitor, time, INTERVAL '30 minutes') AS bounce_rate
FROM page_views GROUP BY device, day;
