"""SQS: consume the notifications that S3, SNS or EventBridge send to a queue."""
