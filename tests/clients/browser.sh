#!/bin/sh
# The browser that programs open: hands the address to the test.
printf '%s\n' "$1" >>"$BROWSER_PIPE"
