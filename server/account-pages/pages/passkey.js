// The browser's part of a passkey (WebAuthn Level 3, with the browser's own JSON).
import { Refusal } from './server.js'

/** Whether this browser can be asked for one. */
export const knowsPasskeys =
  typeof PublicKeyCredential === 'function' &&
  'parseRequestOptionsFromJSON' in PublicKeyCredential &&
  'parseCreationOptionsFromJSON' in PublicKeyCredential

export const tooOld = 'This browser is too old for passkeys: use a current one, or choose another way.'

/** Has the person use a passkey; answers what goes back to the server. */
export async function usePasskey({ challengeToken, publicKey }) {
  if (!knowsPasskeys) throw new Refusal(tooOld)
  const options = PublicKeyCredential.parseRequestOptionsFromJSON(publicKey)
  const credential = await navigator.credentials.get({ publicKey: options }).catch(refuse(publicKey.rpId))
  return { challengeToken, credential: credential.toJSON() }
}

/** Has the person make a passkey; answers what goes back to the server. */
export async function makePasskey({ challengeToken, publicKey }) {
  if (!knowsPasskeys) throw new Refusal(tooOld)
  const options = PublicKeyCredential.parseCreationOptionsFromJSON(publicKey)
  const credential = await navigator.credentials.create({ publicKey: options }).catch(refuse(publicKey.rp.id))
  return { challengeToken, credential: credential.toJSON() }
}

const refuse = (host) => (error) => {
  if (error.name === 'SecurityError')
    throw new Refusal(`Passkeys of this server work only where its address is ${host}: open this page there.`)
  if (error.name === 'InvalidStateError') throw new Refusal('This device holds a passkey of the account already.')
  if (error.name === 'NotSupportedError')
    throw new Refusal('This device cannot hold the passkeys that the server takes.')
  if (error.name !== 'NotAllowedError' && error.name !== 'AbortError') throw error
  throw new Refusal('The passkey was not used: it was turned down, or took too long. Try again, or choose another way.')
}
