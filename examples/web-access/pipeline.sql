-- Requests of a web server, one JSON object per line of its access log; see README.md for the data set.
CREATE UNBOUNDED EXTERNAL TABLE requests (
  event_id VARCHAR NOT NULL,
  time TIMESTAMP NOT NULL,
  client_ip VARCHAR NOT NULL,
  method VARCHAR,
  path VARCHAR NOT NULL,
  protocol VARCHAR,
  status INT NOT NULL,
  bytes BIGINT,
  referrer VARCHAR,
  user_agent VARCHAR
) STORED AS JSON LOCATION 'kafka://requests' OPTIONS (event_time 'time', event_id 'event_id');

-- What is asked for, by how many clients, and what it costs.
CREATE MATERIALIZED VIEW requests_by_path AS
SELECT path, date_bin(INTERVAL '1 hour', time) AS hour,
       count(*) AS requests,
       approx_distinct(client_ip) AS clients,
       sum(bytes) AS bytes,
       count(*) FILTER (WHERE status >= 400) AS errors
FROM requests GROUP BY path, hour;

-- Whether the server is well.
CREATE MATERIALIZED VIEW requests_by_status AS
SELECT status, date_bin(INTERVAL '1 minute', time) AS minute,
       count(*) AS requests,
       sum(bytes) AS bytes,
       approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY bytes) AS p95_bytes
FROM requests GROUP BY status, minute;
