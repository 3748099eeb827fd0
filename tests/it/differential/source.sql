CREATE UNBOUNDED EXTERNAL TABLE events (
  id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, kind VARCHAR, member VARCHAR, flag BOOLEAN,
  level SMALLINT, small INT, added BIGINT, big BIGINT, ratio FLOAT, weight DOUBLE, wide DOUBLE,
  price DECIMAL(10, 2), large DECIMAL(30, 4), day DATE, seen TIMESTAMP
) STORED AS JSON LOCATION 'kafka://events'
OPTIONS (event_time 'time', event_id 'id', grid '64', gap '200ms', partitions '2');
