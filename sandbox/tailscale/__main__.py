"""`python -m mutx_sandbox.tailscale`: serve the provider."""

from mutx_sandbox.tailscale.serve import main

raise SystemExit(main())
