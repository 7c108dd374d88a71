"""Tests of the judge: one file per promise, and files for the evidence, the figures and the second opinion."""
