import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { isAdminPath, isLogoutPath } from './auth-paths.ts'
import { decodePath } from './path.ts'

const admin = [
  '/api/v1/auth/admin',
  '/api/v1/auth/admin/',
  '/api/v1/auth/admin/users',
  '/api/v1/auth/v1/admin/users',
  '/api/v1/auth/v1/v1/auth/v1/admin/users/7',
  '/api/v1/auth/invite',
  '/api/v1/auth/v1/invite/',
  '/api/v1/auth/scim',
  '/api/v1/auth/scim/v2/Users',
  '/auth/ADMIN/users',
  '/auth/Invite',
  '/auth/%61dmin/users',
  '/auth/adm%69n',
  '/auth/%2561dmin/users',
  '/auth/%252525252561dmin/users',
  '/auth/%25%36%31dmin/users',
  '/auth/admin;x/users',
  '/auth/admin;/users',
  '/auth/admin;a=b;c=d',
  '/auth/v1;x/admin/users',
  '/auth/admin%3bx',
  '/auth/admin.',
  '/auth/admin%20',
  '/auth/%20admin',
  '/auth/admin%09',
  '/auth/admin,x',
  '/auth/admin:8080',
  '/auth/admin=1/users',
  '/auth/$admin',
  '/auth/.admin/users',
  '/auth/%c5%bfcim',
  '/auth/%ef%bd%81dmin/users',
  '/auth/user/admin',
]

describe('administration of the auth service', () => {
  for (const path of admin) {
    test(`is ${path}, or what no route takes`, () => {
      const decoded = decodePath(path)
      assert.ok(decoded === null || isAdminPath(decoded), decoded ?? '')
    })
  }

  for (const path of [
    '/api/v1/auth/token',
    '/api/v1/auth/v1/user/identities/authorize',
    '/auth/administrators',
    '/auth/admin-x',
    '/auth/admin_x',
    '/auth/invited',
    '/auth/invite-only/token',
    '/auth/scimitar',
    '/auth/my-admin',
    '/auth/xadmin/users',
    '/auth/adm/in',
    '/auth/callback%3fnext=/x',
    '/auth/100%25',
    '/auth/%zz',
    '/',
  ]) {
    test(`is not ${path}`, () => assert.equal(isAdminPath(decodePath(path) ?? path), false))
  }

  test('is found in little time, however the path is written', () => {
    for (const part of ['%25', '%2525', '/', '/.', '/;', '/%20', '/admi', 'ﷺ']) {
      const path = `/auth/${part.repeat(8_000)}`
      const start = performance.now()
      assert.equal(isAdminPath(path), false)
      const took = performance.now() - start
      assert.ok(took < 250, `${part}: ${took} ms`)
    }
  })
})

describe('the path of sign-outs', () => {
  for (const path of ['/logout', '/api/v1/auth/v1/logout', '/auth/logout/', '/auth/LogOut', '/auth/logout;x'])
    test(`is ${path}`, () => assert.equal(isLogoutPath(path), true))

  for (const path of ['/auth/logouts', '/auth/xlogout', '/auth/logout/now', '/auth/token'])
    test(`is not ${path}`, () => assert.equal(isLogoutPath(path), false))
})
