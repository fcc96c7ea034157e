#!/bin/sh
# Takes out of node_modules what n8n does not need in order to run: copying it costs minutes on a small
# machine. Runs in the folder that holds node_modules.
set -eu
cd node_modules

# Libraries of the editor, which n8n-editor-ui carries in compiled form, and drivers of browsers that are
# not in this image.
rm -rf .bin .package-lock.json element-plus agent-browser playwright playwright-core selenium-webdriver

# For debuggers, compilers and readers.
find . -type f \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' -o -name '*.tsbuildinfo' \) -delete
find . -type f \( -iname '*.md' -o -iname '*.markdown' \) ! -iname 'licen[cs]e*' -delete
find . -depth -type d -empty -delete
