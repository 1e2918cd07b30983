"""The conformance suite as installed, collected here so that plain ``pytest`` runs it on all four backends."""

from vgg.conformance.test_conformance import *  # noqa: F403
