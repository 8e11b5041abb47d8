//! The real world of the queue: DNS, and the SMTP client.
