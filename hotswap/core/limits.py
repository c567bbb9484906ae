"""Every limit of the platform in one place, with its source.

"spec" is the technical specification; "design" is docs/architecture.md. Limits an
operator may change live in `hotswap.config` and take their defaults from here.
"""

from typing import Final

MIB: Final = 1024 * 1024

# Functions (spec FR-FN-001)
FUNCTION_NAME_MAX: Final = 64
MEMORY_MIN_MIB: Final = 128
MEMORY_MAX_MIB: Final = 10_240
MEMORY_STEP_MIB: Final = 64
MEMORY_PER_CPU_MIB: Final = 1_769  # memory that buys one full core, as on AWS Lambda
TIMEOUT_MIN_SECONDS: Final = 1
TIMEOUT_MAX_SECONDS: Final = 900
ENVIRONMENT_MAX_BYTES: Final = 4_096  # names and values together, UTF-8

# Packages (spec FR-FN-002; the rest from the design's attack catalogue S-11 to S-13)
PACKAGE_MAX_BYTES: Final = 50 * MIB
UNPACKED_MAX_BYTES: Final = 250 * MIB
PACKAGE_MAX_FILES: Final = 10_000
PACKAGE_MAX_RATIO: Final = 100  # unpacked : packed, judged once a file passes 1 MiB
PACKAGE_MAX_DEPTH: Final = 20
VERSIONS_KEPT: Final = 100

# Aliases
BASIS_POINTS: Final = 10_000

# Invocations (spec FR-FN-003)
REQUEST_MAX_BYTES: Final = 6 * MIB
RESPONSE_MAX_BYTES: Final = 6 * MIB
STREAM_WINDOW_BYTES: Final = 256 * 1024  # unread bytes of one stream before the function waits

# Logs
LOG_BYTES_PER_INVOCATION: Final = 1 * MIB
LOG_LINE_MAX_BYTES: Final = 16 * 1024
LOG_LINES_PER_SECOND: Final = 1_000  # printed ones, per function and runner
LOG_LINES_BURST: Final = 5_000
LOG_CALLS_PER_SECOND: Final = 100  # with START, END and REPORT, per function and runner
LOG_CALLS_BURST: Final = 1_000
