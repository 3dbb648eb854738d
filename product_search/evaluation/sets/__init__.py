"""Queries, judgements, images and listings that an evaluation runs on."""
