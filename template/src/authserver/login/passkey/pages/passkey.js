// Sends a form with the browser's answer to the options in it: navigator.credentials.create where they name a
// user to make a passkey for, else navigator.credentials.get. What goes wrong is said by showing a line.
"use strict";

const form = document.querySelector("form[data-options]");
const button = form.querySelector("button");

const decode = (text) =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));

const encode = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer)))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");

function tell(error) {
  for (const line of document.querySelectorAll("[data-error]")) {
    line.hidden = line.dataset.error !== error;
  }
}

async function ask() {
  const options = JSON.parse(form.dataset.options);
  options.challenge = decode(options.challenge);
  for (const known of options.excludeCredentials ?? []) {
    known.id = decode(known.id);
  }
  if (!options.user) {
    return navigator.credentials.get({ publicKey: options });
  }
  const name = form.elements.username.value;
  options.user = { id: decode(options.user.id), name, displayName: name };
  return navigator.credentials.create({ publicKey: options });
}

function written(credential) {
  const response = { transports: credential.response.getTransports?.() };
  for (const part of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (credential.response[part]) {
      response[part] = encode(credential.response[part]);
    }
  }
  return JSON.stringify({ id: credential.id, rawId: credential.id, type: credential.type, response });
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  tell(null);
  button.disabled = true;
  try {
    form.elements.credential.value = written(await ask());
    form.submit();
  } catch (error) {
    button.disabled = false;
    button.focus();
    tell(document.querySelector(`[data-error="${error.name}"]`) ? error.name : "other");
  }
});

if (!window.PublicKeyCredential) {
  button.hidden = true;
  tell(window.isSecureContext ? "unsupported" : "insecure");
}
