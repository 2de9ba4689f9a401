"""Long-running loops: the scheduler, the event listener, the image worker and Kafka.

May import every package but `cli`.
"""
