# shellcheck shell=bash
# A host runs this as root at every boot, after lines of queue.sh that set SHARE, and the arguments: the code's archive
# in a bucket, then those of the program.
set -euo pipefail
export HOME=/root

object=https://storage.googleapis.com/${1#gs://}
token=http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token
token=$(curl --silent --show-error --fail --retry 5 --header 'Metadata-Flavor: Google' "$token" |
  sed 's/.*"access_token" *: *"\([^"]*\)".*/\1/')
folder=$(mktemp -d)
curl --silent --show-error --fail --retry 5 --header "Authorization: Bearer $token" --output "$folder/whyjax.tar.gz" \
  "$object"
tar xzf "$folder/whyjax.tar.gz" --directory="$folder" launch
bash "$folder/launch/tpu/host.sh" install "$folder/whyjax.tar.gz"
bash "$folder/launch/tpu/host.sh" start "${@:2}"
rm -r "$folder"
