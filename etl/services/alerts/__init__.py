"""Alerts: their texts, their delivery to ALERT_URL, and what only this process knows.

May import everything that services may, but no other service.
"""
