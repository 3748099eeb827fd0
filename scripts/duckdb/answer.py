"""Answers questions with DuckDB: the second engine of tests/it/differential.

In: {"columns": "id VARCHAR, ...", "events": [{"id": ...}], "questions": [{"events": 700, "sql": ...}]}, where a
question is about the first so many events, as the table `events`. Out, for each: {"rows": [[...]]} or {"error": ...}.
A value is null, a truth value, a text, a double as a number, and else {"exact"}, {"date"} or {"instant"} with its text.
"""

import json
import sys
from datetime import date, datetime, timezone
from decimal import Decimal

import duckdb


def plain(value):
    if value is None or isinstance(value, (bool, str, float)):
        return value
    if isinstance(value, (int, Decimal)):
        return {"exact": format(value, "f" if isinstance(value, Decimal) else "d")}
    if isinstance(value, datetime):
        return {"instant": value.replace(tzinfo=timezone.utc).isoformat()}
    if isinstance(value, date):
        return {"date": value.isoformat()}
    raise TypeError(f"no question asks for {type(value)}")


def answer(database, sql):
    try:
        return {"rows": [[plain(value) for value in row] for row in database.execute(sql).fetchall()]}
    except duckdb.Error as error:
        return {"error": str(error)}


def main(source, target):
    with open(source, encoding="utf-8") as file:
        asked = json.load(file)
    database = duckdb.connect()
    database.execute(f"CREATE TABLE events ({asked['columns']})")
    # Buckets of a day or less begin where those of date_bin do.
    database.execute("CREATE MACRO date_bin(width, moment) AS time_bucket(width, CAST(moment AS TIMESTAMP))")
    names = list(asked["events"][0])
    insert = f"INSERT INTO events ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
    answers, there = {}, 0
    # Fewest events first: the table only grows.
    for number, question in sorted(enumerate(asked["questions"]), key=lambda pair: pair[1]["events"]):
        if question["events"] > there:
            more = asked["events"][there : question["events"]]
            database.executemany(insert, [[event[name] for name in names] for event in more])
            there = question["events"]
        answers[number] = answer(database, question["sql"])
    with open(target, "w", encoding="utf-8") as file:
        json.dump([answers[number] for number in range(len(answers))], file)


main(*sys.argv[1:])
