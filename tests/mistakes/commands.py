"""Mistakes in files and on the command line: no Kafka is asked."""

from __future__ import annotations

from tests.mistakes.mistake import SETTINGS, Mistake, changed

_COLUMNS = "amount,merchant,is_fraud\n"

SETTINGS_FILE = (
    Mistake("There is no settings file", "headwater run", 3, settings=None),
    Mistake("A name of a file that is not there", "headwater run --config pay.yml", 3),
    Mistake("A folder instead of a file", "headwater config check --config .", 3),
    Mistake(
        "A key is misspelt",
        "headwater run",
        3,
        settings=changed("bootstrap_servers", "bootstrap_server"),
        shows="  bootstrap_server: localhost:9092",
    ),
    Mistake(
        "A bracket is not closed",
        "headwater run",
        3,
        settings=changed("amount: {type: number}", "amount: {type: number"),
        shows="    amount: {type: number\n    merchant: {type: category}",
    ),
    Mistake(
        "Tabs",
        "headwater run",
        3,
        settings=changed("    amount", "\tamount"),
        shows="\tamount: {type: number}",
    ),
    Mistake(
        "A text where a number should be",
        "headwater run",
        3,
        settings=SETTINGS + "api: {port: eighty}\n",
        shows="api: {port: eighty}",
    ),
    Mistake(
        "A type of field that there is not",
        "headwater run",
        3,
        settings=changed("type: number", "type: numeric"),
        shows="    amount: {type: numeric}",
    ),
    Mistake(
        "A kind of model that there is not",
        "headwater run",
        3,
        settings=SETTINGS + "model: {kind: xgboost}\n",
        shows="model: {kind: xgboost}",
    ),
    Mistake(
        "The target is among the features",
        "headwater run",
        3,
        settings=changed("    merchant:", "    is_fraud: {type: boolean}\n    merchant:"),
        shows="  features:\n    is_fraud: {type: boolean}\n  targets:\n    is_fraud: {type: binary}",
    ),
    Mistake(
        "A placeholder that nothing fills in",
        "headwater run",
        3,
        settings=changed("  topics:", "  client:\n    sasl.password: ${KAFKA_PASSWORD}\n  topics:"),
        shows="  client:\n    sasl.password: ${KAFKA_PASSWORD}",
    ),
    Mistake(
        "An address of a web page as the broker",
        "headwater run",
        3,
        settings=changed("localhost:9092", "http://localhost:9092"),
        shows="  bootstrap_servers: http://localhost:9092",
    ),
    Mistake(
        "The file of a secret is not there",
        "headwater run",
        3,
        environment={"HEADWATER_KAFKA__CLIENT__SASL_PASSWORD_FILE": "/run/secrets/kafka"},
        shows="HEADWATER_KAFKA__CLIENT__SASL_PASSWORD_FILE=/run/secrets/kafka",
    ),
    Mistake(
        "A variable is misspelt",
        "headwater run",
        3,
        environment={"HEADWATER_API__PROT": "9000"},
        shows="HEADWATER_API__PROT=9000",
    ),
    Mistake("A command is misspelt", "headwater strat", 2),
)
"""What is wrong before anything begins."""

FILES = (
    Mistake("The file of events is not there", "headwater evaluate events.csv", 1),
    Mistake(
        "A file of a kind that is not known",
        "headwater publish events.txt",
        1,
        files={"events.txt": _COLUMNS},
    ),
    Mistake("An empty file", "headwater evaluate events.csv", 1, files={"events.csv": ""}),
    Mistake(
        "Nothing below the line of names",
        "headwater evaluate events.csv",
        1,
        files={"events.csv": _COLUMNS},
    ),
    Mistake(
        "A csv without a line of names",
        "headwater evaluate events.csv",
        1,
        files={"events.csv": "12.5,m17,0\n950,m3,1\n"},
        shows="12.5,m17,0\n950,m3,1",
    ),
    Mistake(
        "A csv whose cells stand between bars",
        "headwater evaluate events.csv",
        1,
        files={"events.csv": "amount|merchant|is_fraud\n12.5|m17|0\n"},
        shows="amount|merchant|is_fraud\n12.5|m17|0",
    ),
    Mistake(
        "A decimal comma that is not in quotes",
        "headwater evaluate events.csv",
        1,
        files={"events.csv": _COLUMNS + "12,5,m17,0\n"},
        shows=_COLUMNS + "12,5,m17,0",
    ),
)
"""Files of events."""

NOBODY = (
    Mistake("Asking a service that does not run", "headwater status", 0),
    Mistake("Commanding a service that does not run", "headwater pause", 1),
    Mistake("Snapshots before there is a model", "headwater snapshots list", 0),
    Mistake("A version before there is a model", "headwater rebuild --version 3 --out old", 7),
    Mistake(
        "The embedded broker does not run",
        "headwater publish events.jsonl",
        1,
        settings=changed("localhost:9092", "embedded"),
        shows="  bootstrap_servers: embedded",
        files={"events.jsonl": '{"amount": 12.5, "is_fraud": 0}\n'},
    ),
)
"""Nothing runs yet."""
