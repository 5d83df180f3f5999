import { endpoint } from './endpoint.ts'
import { Id, object } from './values.ts'

export const exportMyData = endpoint({
  name: 'exportMyData',
  summary: 'Everything this server keeps about the account, as one JSON document',
  method: 'POST',
  path: '/api/v1/auth/me/export',
  access: 'session',
  stepUp: true,
  limit: 'auth',
  status: 200,
  reply: null,
  produces: 'application/json',
  errors: [],
})

export const eraseMe = endpoint({
  name: 'eraseMe',
  summary: 'Erase the account, its personal team and all that is in it; there is no way back',
  method: 'DELETE',
  path: '/api/v1/auth/me',
  access: 'session',
  stepUp: true,
  limit: 'auth',
  status: 204,
  reply: null,
  errors: ['last_admin', 'last_owner'],
})

export const eraseUser = endpoint({
  name: 'eraseUser',
  summary: 'Erase a person’s account, personal team and all that is in it; there is no way back',
  method: 'DELETE',
  path: '/api/v1/admin/users/:userId',
  access: 'admin',
  stepUp: true,
  limit: 'admin',
  params: object({ userId: Id }),
  status: 204,
  reply: null,
  errors: ['user_not_found', 'last_admin', 'last_owner'],
})
