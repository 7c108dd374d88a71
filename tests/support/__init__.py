"""What tests of several rooms share: runs, servers, processes and proxies to try things on. No tests here."""
