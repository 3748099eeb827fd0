-- What the fixtures of tests/it/upgrade hold: every kind of state, both kinds of bucket, a static table, copies, late and
-- rejected records, values that no column could take. Do not change it: fixtures of former versions were made by it.
CREATE UNBOUNDED EXTERNAL TABLE hits (
  id VARCHAR NOT NULL,
  time TIMESTAMP NOT NULL,
  page VARCHAR NOT NULL,
  amount BIGINT,
  price DECIMAL(12, 2),
  weight DOUBLE,
  tags ARRAY<VARCHAR>
) STORED AS JSON LOCATION 'kafka://hits'
  OPTIONS (event_time 'time', event_id 'id', grid '64', gap '200ms', partitions '2');

CREATE EXTERNAL TABLE pages (page VARCHAR NOT NULL, owner VARCHAR NOT NULL) STORED AS CSV LOCATION 'pages.csv';

CREATE MATERIALIZED VIEW by_hour AS
SELECT date_trunc('hour', time) AS hour, page, count(*) AS hits, sum(amount) AS amount, min(amount) AS least,
       max(price) AS dearest, sum(price) AS turnover
FROM hits GROUP BY 1, 2;

CREATE MATERIALIZED VIEW by_owner AS
SELECT owner, count(*) AS hits, count(DISTINCT amount) AS amounts, approx_distinct(id) AS ids, avg(weight) AS weight,
       approx_percentile_cont(weight, 0.5) AS middle
FROM hits JOIN pages ON hits.page = pages.page GROUP BY owner;
