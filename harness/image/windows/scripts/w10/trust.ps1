# Trust who signed the drivers: Windows would ask whether to install what is not signed by Microsoft itself.
$store = New-Object System.Security.Cryptography.X509Certificates.X509Store('TrustedPublisher', 'LocalMachine')
$store.Open('ReadWrite')
Get-ChildItem C:\nicproof\drivers -Recurse -Filter *.cat | ForEach-Object {
    $signer = (Get-AuthenticodeSignature $_.FullName).SignerCertificate
    if ($signer) { $store.Add($signer) }
}
$store.Close()
