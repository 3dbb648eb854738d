"""What hostile requests do to everybody else's searches, and to the service's memory."""
