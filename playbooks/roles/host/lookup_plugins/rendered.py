"""Return a role's template as text, without copying every variable for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible.template import trust_as_template

DOCUMENTATION = r"""
name: rendered
author: mutx.dev
short_description: A template of the role, rendered
description:
  - As C(ansible.builtin.template), which copies all variables deeply for each template. The facts of these roles name
    every package and unit of a host, and that copy was half of what a run cost.
options:
  _terms: {description: Names of templates., required: true}
  template_vars: {description: Variables for these templates alone., type: dict, default: {}}
"""

EXAMPLES = r"""
content: "{{ lookup('rendered', 'user.rules.j2', template_vars={'ufw_six': true}) }}"
"""

RETURN = r"""
_raw: {description: The text of each template., type: list, elements: str}
"""


class LookupModule(LookupBase):  # type: ignore[misc]  # Ansible publishes no types
    """Renders what lies in the role's `templates`."""

    def run(self, terms: list[str], variables: dict[str, Any], **options: Any) -> list[str]:  # noqa: ANN401
        """Return the text of each template.

        Raises:
            AnsibleError: there is none of that name.
        """
        self.set_options(var_options=variables, direct=options)
        seen = {**variables, **self.get_option("template_vars")}
        return [self._render(term, variables, seen) for term in terms]

    def _render(self, term: str, variables: dict[str, Any], seen: dict[str, Any]) -> str:
        path = self.find_file_in_search_path(variables, "templates", term)
        if path is None:
            raise AnsibleError(f"there is no template {term}")
        text = trust_as_template(Path(path).read_text(encoding="utf-8"))
        templar = self._templar.copy_with_new_env(
            available_variables=seen, searchpath=[str(Path(path).parent)]
        )
        return str(templar.template(text, escape_backslashes=False))
