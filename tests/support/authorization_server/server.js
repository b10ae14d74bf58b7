// An authorization server for tests: npm oidc-provider, with clients for each way to show who one is.
//
// SETTINGS (JSON in the environment): `jwks` of the client that signs, `ttl` in seconds. It prints one line of JSON when
// it listens: its `issuer`, and a first `refresh_token`, as if a person had authorized the client "person". It ends with
// its standard input, so that it does not outlive who has started it.

import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

const { jwks, ttl } = JSON.parse(process.env.SETTINGS);
const SECRET = 'pass word+&=:%'; // nothing that could be sent as it is
const API = 'https://api.test/';

const client = (id, method, more = {}) => ({
  client_id: id,
  token_endpoint_auth_method: method,
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
  scope: 'read write',
  ...more,
});

const person = { grant_types: ['refresh_token', 'authorization_code'], response_types: ['code'], scope: 'openid offline_access' };

const configuration = {
  clients: [
    client('basic id:1', 'client_secret_basic', { client_secret: SECRET }),
    client('post', 'client_secret_post', { client_secret: SECRET }),
    client('signer', 'private_key_jwt', { jwks }),
    client('person', 'client_secret_basic', { client_secret: SECRET, redirect_uris: ['https://person.test/cb'], ...person }),
  ],
  scopes: ['openid', 'offline_access', 'read', 'write'],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: () => ({ scope: 'read write', audience: API, accessTokenFormat: 'opaque' }),
    },
  },
  ttl: { ClientCredentials: ttl, AccessToken: ttl, RefreshToken: 3600, Grant: 3600 },
  rotateRefreshToken: true,
  findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
  enabledJWA: { clientAuthSigningAlgValues: ['RS256', 'PS256', 'ES256', 'ES384', 'ES512'] },
};

async function authorized(provider) {
  const grant = new provider.Grant({ clientId: 'person', accountId: 'alice' });
  grant.addOIDCScope('openid offline_access');
  const grantId = await grant.save();
  const token = new provider.RefreshToken({
    client: await provider.Client.find('person'),
    accountId: 'alice',
    grantId,
    gty: 'authorization_code',
    scope: 'openid offline_access',
    authTime: Math.floor(Date.now() / 1000),
  });
  return token.save();
}

process.stdin.on('end', () => process.exit()).resume();

const server = createServer();
server.listen(0, '127.0.0.1', async () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, configuration);
  server.on('request', provider.callback());
  console.log(JSON.stringify({ issuer, refresh_token: await authorized(provider) }));
});
