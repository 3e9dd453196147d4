"""`python -m mutx_sandbox.aws`: serve the provider."""

from mutx_sandbox.aws.serve import main

raise SystemExit(main())
