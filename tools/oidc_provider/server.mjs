// A provider on a free port of loopback. Its configuration is one line of JSON on standard input; where it serves, one
// line on standard output. Anybody signs in with any password: `login` is the subject.
//
// {"client_id", "client_secret" (none for a public client), "redirect_uris", "audience" (of access tokens that are
//  JWTs; none for opaque ones), "groups": {LOGIN: [GROUP]}, "algorithm"}

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';

import { Provider } from 'oidc-provider';

const KINDS = {
  RS256: ['rsa', { modulusLength: 2048 }],
  PS256: ['rsa', { modulusLength: 2048 }],
  ES256: ['ec', { namedCurve: 'P-256' }],
  EdDSA: ['ed25519', {}],
};

const lines = createInterface({ input: process.stdin });
const said = JSON.parse((await lines[Symbol.asyncIterator]().next()).value);
const algorithm = said.algorithm ?? 'RS256';

function key(name, kid) {
  const { privateKey } = generateKeyPairSync(...KINDS[name]);
  return { ...privateKey.export({ format: 'jwk' }), kid, use: 'sig', alg: name };
}

const server = createServer();
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;

const groupsOf = (login) => said.groups?.[login] ?? [];
const resource = {
  scope: 'openid',
  audience: said.audience,
  accessTokenFormat: 'jwt',
  jwt: { sign: { alg: algorithm } },
};
const provider = new Provider(issuer, {
  clients: [
    {
      client_id: said.client_id,
      redirect_uris: said.redirect_uris,
      response_types: ['code'],
      id_token_signed_response_alg: algorithm,
      ...(said.client_secret
        ? { client_secret: said.client_secret, token_endpoint_auth_method: 'client_secret_basic' }
        : { token_endpoint_auth_method: 'none' }),
    },
  ],
  jwks: { keys: [key(algorithm, 'first'), key('RS256', 'second')] },
  cookies: { keys: ['of-a-test'] },
  claims: { openid: ['sub', 'groups'], email: ['email', 'email_verified'] },
  conformIdTokenClaims: true,
  extraTokenClaims: (_ctx, token) => ({ groups: groupsOf(token.accountId) }),
  findAccount: (_ctx, login) => ({
    accountId: login,
    claims: () => ({
      sub: login,
      email: `${login}@acme.example`,
      email_verified: true,
      groups: groupsOf(login),
    }),
  }),
  features: {
    devInteractions: { enabled: true },
    resourceIndicators: {
      enabled: Boolean(said.audience),
      defaultResource: () => 'https://api.mutx.example',
      getResourceServerInfo: () => resource,
      useGrantedResource: () => true,
    },
  },
});
server.on('request', provider.callback());
process.stdout.write(`${JSON.stringify({ issuer })}\n`);
// Whoever started it ends it by closing its input.
lines.on('close', () => process.exit(0));
