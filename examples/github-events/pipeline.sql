-- Public events of GitHub, as its events API and GH Archive have them; see README.md.
CREATE UNBOUNDED EXTERNAL TABLE github (
  id VARCHAR NOT NULL,
  type VARCHAR NOT NULL,
  created_at TIMESTAMP NOT NULL,
  actor_id BIGINT OPTIONS (path = 'actor.id'),
  login VARCHAR OPTIONS (path = 'actor.login'),
  repo_id BIGINT OPTIONS (path = 'repo.id'),
  repo_name VARCHAR NOT NULL OPTIONS (path = 'repo.name'),
  org_login VARCHAR OPTIONS (path = 'org.login'),
  -- What the payload holds depends on the type: what is not there is NULL.
  action VARCHAR OPTIONS (path = 'payload.action'),
  commits BIGINT OPTIONS (path = 'payload.size'),
  merged BOOLEAN OPTIONS (path = 'payload.pull_request.merged')
) STORED AS JSON LOCATION 'kafka://github'
OPTIONS (event_time 'created_at', event_id 'id');

-- What goes on in each repository, and how many people are at work.
CREATE MATERIALIZED VIEW activity_by_repo AS
SELECT repo_name AS repo, date_bin(INTERVAL '1 hour', created_at) AS hour,
       count(*) AS events,
       count(*) FILTER (WHERE type = 'PushEvent') AS pushes,
       sum(commits) AS commits,
       count(*) FILTER (WHERE type = 'WatchEvent') AS stars,
       count(*) FILTER (WHERE type = 'ForkEvent') AS forks,
       count(*) FILTER (WHERE type = 'IssuesEvent' AND action = 'opened') AS issues_opened,
       count(*) FILTER (WHERE type = 'PullRequestEvent' AND action = 'opened') AS pulls_opened,
       count(*) FILTER (WHERE type = 'PullRequestEvent' AND merged) AS pulls_merged,
       approx_distinct(actor_id) AS developers
FROM github GROUP BY repo_name, hour;

-- What kinds of events come, and how many of them robots cause.
CREATE MATERIALIZED VIEW events_by_type AS
SELECT type, date_bin(INTERVAL '1 hour', created_at) AS hour,
       count(*) AS events,
       count(*) FILTER (WHERE login LIKE '%[bot]') AS bot_events,
       approx_distinct(actor_id) AS developers
FROM github GROUP BY type, hour;

-- How many people are active in a day, in each organisation; roll up with MEASURE() for all of them.
CREATE MATERIALIZED VIEW active_developers WITH (bucket = 'day') AS
SELECT coalesce(org_login, '(none)') AS org, date_bin(INTERVAL '1 day', created_at) AS day,
       count(*) AS events,
       approx_distinct(actor_id) AS developers,
       approx_distinct(repo_id) AS repos
FROM github WHERE login NOT LIKE '%[bot]'
GROUP BY coalesce(org_login, '(none)'), day;

-- How many commits a push has, where it tells.
CREATE MATERIALIZED VIEW push_sizes AS
SELECT date_bin(INTERVAL '1 hour', created_at) AS hour,
       count(*) AS pushes,
       sum(commits) AS commits,
       approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY commits) AS median_commits,
       approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY commits) AS p95_commits,
       max(commits) AS largest
FROM github WHERE type = 'PushEvent' GROUP BY hour;
