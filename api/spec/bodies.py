"""The request bodies in /openapi.json that routes parse themselves."""

from __future__ import annotations

from typing import Any

from etl.db.event_messages import SNS_TYPES, TEST_EVENTS

Json = dict[str, Any]

# Objects have any type; the first entry is for clients that do not support wildcards.
ANY_TYPE = ("application/octet-stream", "*/*")

_NOTIFICATION: Json = {
    "title": "Notification",
    "type": "object",
    "properties": {
        "Records": {
            "description": "The events; null means none.",
            "type": ["array", "null"],
            "items": {"type": "object"},
        }
    },
    "required": ["Records"],
}
_TEST_MESSAGE: Json = {
    "title": "TestMessage",
    "description": "Sent once by S3 to test the destination.",
    "type": "object",
    "properties": {"Event": {"type": "string", "enum": list(TEST_EVENTS)}},
    "required": ["Event"],
}
_SNS_MESSAGE: Json = {
    "title": "SnsMessage",
    "description": "A message of SNS: its text is a notification, or it concerns a subscription.",
    "type": "object",
    "properties": {
        "Type": {"type": "string", "enum": list(SNS_TYPES)},
        "TopicArn": {"type": "string"},
        "Message": {"type": "string"},
        "Token": {"type": "string"},
    },
    "required": ["Type", "TopicArn"],
}
_BRIDGE_EVENT: Json = {
    "title": "EventBridgeEvent",
    "type": "object",
    "properties": {
        "detail-type": {"type": "string", "examples": ["Object Created"]},
        "time": {"type": "string"},
        "detail": {
            "type": "object",
            "properties": {
                "bucket": {"type": "object", "properties": {"name": {"type": "string"}}},
                "object": {"type": "object", "properties": {"key": {"type": "string"}}},
            },
        },
    },
    "required": ["detail-type", "detail"],
}

# Form fields are always text; `type: string` would reject values that look like numbers.
_ANY_TEXT: Json = {"contentMediaType": "text/plain"}

# By path and method.
REQUEST_BODIES: dict[tuple[str, str], Json] = {
    ("/objects/{bucket}/{key}", "put"): {
        "description": "The content of the object.",
        "required": True,
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in ANY_TYPE},
    },
    ("/objects/{bucket}", "post"): {
        "description": "A form with one or more files.",
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "file": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "string", "format": "binary"},
                        },
                        "prefix": _ANY_TEXT
                        | {"description": "Prefix of the object keys, before the file names."},
                        "key": _ANY_TEXT
                        | {"description": "Object key; only for a form with one file."},
                    },
                    "required": ["file"],
                    "additionalProperties": False,
                }
            }
        },
    },
    ("/check", "post"): {
        "description": "The file, or a form with one file.",
        "required": True,
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "key": _ANY_TEXT | {"description": "Key that the object will have."},
                    },
                    "required": ["file"],
                    "additionalProperties": False,
                }
            },
        },
    },
    ("/minio-event", "post"): {
        "description": "A notification of S3 or MinIO, alone or from SNS or EventBridge.",
        "required": True,
        "content": {
            "application/json": {
                "schema": {"anyOf": [_NOTIFICATION, _TEST_MESSAGE, _SNS_MESSAGE, _BRIDGE_EVENT]},
                "example": {"Records": []},
            }
        },
    },
    ("/documents", "post"): {
        "description": "Any JSON value, including 0, [], null and false.",
        "required": True,
        "content": {"application/json": {"schema": {}, "example": {"any": "JSON value"}}},
    },
}
