//! Tests of sending, against a scripted server.
